"""Problems with one answer."""
