"""From the papers' tables to ours: plan, weights, scores, claims, tables, report."""
