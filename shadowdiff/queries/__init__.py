"""The store queries for pages, API, gauges and webhooks: one function per query. Queries do not change any count."""
