"""The curation transforms and the validator: decisions of ``curate`` made on, and applied to, Datumaro's items."""
