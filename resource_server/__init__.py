"""The resource server: a bank that answers whoever brings a good access token."""
