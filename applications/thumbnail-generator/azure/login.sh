# For steps that use az, which end at the first failure: it writes to the folder that it reads, which a container sees read-only.
set -eu
if [ -d "$HOME/.azure" ] && [ ! -w "$HOME/.azure" ]; then
    AZURE_CONFIG_DIR=$(mktemp -d)
    cp -R "$HOME/.azure/." "$AZURE_CONFIG_DIR"
    export AZURE_CONFIG_DIR
fi
