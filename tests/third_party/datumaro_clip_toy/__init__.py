"""An encoder of colours, for datumaro-clip."""
