"""The authorization server (`Oauth` in the diagram): it knows the clients and issues the tokens."""
