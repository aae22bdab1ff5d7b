#!/bin/sh
# Builds what images and release archives carry: one static Linux program, the same bytes from
# the same sources.
#
#   deploy/image/build.sh OUT        writes OUT/pnwatch
#
# SOURCE_DATE_EPOCH and PNWATCH_COMMIT are handed on to the build; CARGO and READELF name other
# programs (tests).
set -eu
out=${1:?usage: build.sh OUT}
cd "$(dirname "$0")/../.."
cargo=${CARGO:-cargo} readelf=${READELF:-readelf}

case $(uname -m) in
    x86_64) target=x86_64-unknown-linux-gnu ;;
    aarch64) target=aarch64-unknown-linux-gnu ;;
    *) echo "build.sh: no image is made for $(uname -m)" >&2; exit 1 ;;
esac

# Static: the image holds nothing else. Paths of the build machine stay out of the program.
# With --target the flags are the program's alone, not those of build scripts.
RUSTFLAGS="-C target-feature=+crt-static --remap-path-prefix=$(pwd)=/pnwatch --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
export RUSTFLAGS CARGO_INCREMENTAL=0
folder=${CARGO_TARGET_DIR:-target}
"$cargo" build --locked --profile dist --target "$target" --no-default-features \
    --features prober,exporter --bin pnwatch

built=$folder/$target/dist/pnwatch
if "$readelf" --program-headers --wide "$built" | grep -q INTERP; then
    echo "build.sh: $built needs a dynamic loader, which the image does not have" >&2
    exit 1
fi
mkdir -p "$out"
cp "$built" "$out/pnwatch"
"$out/pnwatch" --version
