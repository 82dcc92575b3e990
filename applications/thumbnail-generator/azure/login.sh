# For steps that use az: it writes to the folder that it reads, which a container sees read-only.
if [ -d "$HOME/.azure" ] && [ ! -w "$HOME/.azure" ]; then
    AZURE_CONFIG_DIR=$(mktemp -d)
    cp -R "$HOME/.azure/." "$AZURE_CONFIG_DIR"
    export AZURE_CONFIG_DIR
fi
