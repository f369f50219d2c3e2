"""Whether curation helps: one classifier trained on raw and on curated data, and on a random part of the same size."""
