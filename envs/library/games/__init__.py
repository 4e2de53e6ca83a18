"""Games over several turns, with a reward for each."""
