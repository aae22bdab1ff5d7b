# Homebrew formula. The release workflow puts version, url and sha256 in; on hosts of a fleet
# use install.sh, which rolls back.
class Pnwatch < Formula
  desc "Private-network reachability prober and SLO monitor"
  homepage "https://git.example/pnwatch"
  url "https://git.example/pnwatch/releases/download/v0.1.0/pnwatch-0.1.0-darwin-arm64.tar.gz"
  version "0.1.0"
  sha256 "0000000000000000000000000000000000000000000000000000000000000000"
  license "MIT"

  depends_on arch: :arm64
  depends_on :macos

  def install
    bin.install "pnwatch"
    (pkgshare/"macos").install Dir["macos/*"]
  end

  service do
    run [opt_bin/"pnwatch", "probe", "--config", etc/"pnwatch/pnwatch.yaml"]
    keep_alive true
    require_root true
    log_path var/"log/pnwatch.log"
    error_log_path var/"log/pnwatch.log"
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/pnwatch --version")
    assert_match "cluster:", shell_output("#{bin}/pnwatch check --print-default")
  end
end
