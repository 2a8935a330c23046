"""What the end-to-end and crash tests stand on: sites, scripted peers, byte-exact clients, ledgers."""
