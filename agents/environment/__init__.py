"""What an agent acts in: markets, accounts in many copies, observations, rewards, episodes. Pure."""
