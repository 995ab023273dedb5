"""What Fairlead costs and how fast it is, measured. `make bench` runs `benchmarks.run` and writes README.md here."""
