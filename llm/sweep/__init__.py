"""A sweep: what is planned, trained and exported; nothing here knows how policies are evaluated."""
