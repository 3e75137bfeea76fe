"""Where the subsystems meet: each verb of a user is a sequence of steps here."""
