"""Ranking: interests and papers in, picks out. A leaf that knows neither SQL nor mail."""
