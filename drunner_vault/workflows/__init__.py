"""What a person can ask for: installing, using, backing up, restoring and removing. Given interfaces, never choosing
them."""
