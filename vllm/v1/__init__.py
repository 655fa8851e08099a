"""Names of upstream's modules that programs import from: what they hold is elsewhere here."""
