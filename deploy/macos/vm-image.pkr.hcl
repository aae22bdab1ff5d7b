# For a runner VM's image (Packer): the program alone. No daemon, no configuration, no token: the
# code in the VM is the customer's, and what lies in the image lies in every VM.
#
# Put both provisioners into the image's `build` block.

variable "pnwatch_binary" {
  type        = string
  description = "The release's program for macOS arm64."
}

build {
  provisioner "file" {
    source      = var.pnwatch_binary
    destination = "/tmp/tuist-pnwatch"
  }

  provisioner "shell" {
    inline = [
      "set -eu",
      "sudo mkdir -p /usr/local/bin",
      "sudo install -o root -g wheel -m 755 /tmp/tuist-pnwatch /usr/local/bin/tuist-pnwatch.new",
      "sudo codesign --force --sign - --identifier dev.tuist.pnwatch /usr/local/bin/tuist-pnwatch.new",
      "sudo mv -f /usr/local/bin/tuist-pnwatch.new /usr/local/bin/tuist-pnwatch",
      "rm -f /tmp/tuist-pnwatch",
      "/usr/local/bin/tuist-pnwatch --version",
    ]
  }
}
