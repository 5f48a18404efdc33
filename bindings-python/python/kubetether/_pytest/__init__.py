"""What the plugin does once a fixture of it is used."""
