"""The image, without a container engine: its files by lint, its steps by running them."""
