#!/bin/sh
# Renders client_credentials.puml to SVG and notes in it the source's SHA-256, so that a test can
# tell when the picture is not of this source.
set -eu
cd "$(dirname "$0")"
command -v plantuml >/dev/null || { echo "plantuml is needed (Debian and Ubuntu: apt install plantuml)" >&2; exit 1; }
source_hash=$(sha256sum client_credentials.puml | cut -d' ' -f1)
plantuml -nometadata -tsvg -pipe <client_credentials.puml >client_credentials.svg.new
printf '\n<!-- of client_credentials.puml, sha256 %s -->\n' "$source_hash" >>client_credentials.svg.new
mv client_credentials.svg.new client_credentials.svg
