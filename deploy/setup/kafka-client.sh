#!/usr/bin/env bash
# Puts kafka-python's wheel into the cache folder, from which the tests on Apache Kafka import it as it is.
# shellcheck source=deploy/setup/steps.sh
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

sha256=67add72052e3ad0c37ed9963ebe2b1696adc7f063c64eaf19862c21b69a64a18
wheel=$cache_dir/kafka-client/kafka_python.whl
if is_file_with "$sha256" "$wheel"; then
    say kafka-client "$wheel is there"
    exit
fi

say kafka-client "fetching kafka-python (0.5 MB) into $wheel"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
download kafka-client kafka-client.txt "$folder"
mkdir -p "$(dirname "$wheel")"
mv "$(echo "$folder"/kafka_python-*.whl)" "$wheel"
