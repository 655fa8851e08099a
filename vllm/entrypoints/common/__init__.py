"""Upstream's newer name for what its servers share."""
