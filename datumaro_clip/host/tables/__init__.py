"""The formats ``clip_table`` and ``clip_webdataset``: image–text data of tables and tar shards."""
