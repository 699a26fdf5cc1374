"""What a client of a server gets: rates, latencies, memory, each beside what is promised."""
