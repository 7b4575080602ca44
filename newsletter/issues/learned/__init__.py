"""What ranking knows beside the day's papers: the archive's terms, what is liked together, what readers rated."""
