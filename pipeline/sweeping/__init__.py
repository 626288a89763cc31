"""Sweeps: many DVC experiments of one command, compared in one table and under one MLflow run."""
