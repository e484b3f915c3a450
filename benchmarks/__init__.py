"""What the library costs, and whether it keeps its promises of speed; see README.md."""
