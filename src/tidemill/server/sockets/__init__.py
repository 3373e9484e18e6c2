"""The websockets of the field's clients: events and logs, in both directions."""
