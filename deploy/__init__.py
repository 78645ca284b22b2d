"""What the containers need beside the images: their databases, their vault and what is in both."""
