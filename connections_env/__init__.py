"""What more than one script needs: the game, its prompts and records, files, the endpoint, the offline player."""
