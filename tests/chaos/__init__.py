"""Worlds, crash points, kills, power, disks, damage, mutants: what goes wrong on purpose."""
