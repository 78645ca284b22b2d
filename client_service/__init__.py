"""The machine client: a cron worker that reconciles a bank account with an access token."""
