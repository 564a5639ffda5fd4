"""Test the image without a container engine: linters check the files, and the build steps run on this machine."""
