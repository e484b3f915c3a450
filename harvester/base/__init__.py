"""What every other package uses: JSON, dates, secrets, files, threads, outages."""
