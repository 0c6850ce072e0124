"""Alembic's scripts: how the tables of the decision log come to be, and change."""
