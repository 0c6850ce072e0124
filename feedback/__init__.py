"""What became of a decision: outcomes, judgements, rewards, and the log that keeps them."""
