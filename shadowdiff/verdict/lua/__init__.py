"""The scripts that keep epochs, as files of the package."""
