"""Tests with planned faults: simulated runs, crash points, kills, power cuts, disks, mutants."""
