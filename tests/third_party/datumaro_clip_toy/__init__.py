"""An encoder of colours, and a store of plain files, for datumaro-clip."""
