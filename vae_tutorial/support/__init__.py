"""What every module stands on: checks of input, the device, files that are whole or absent."""
