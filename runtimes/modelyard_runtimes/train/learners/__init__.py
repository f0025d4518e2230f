"""The families of models. Each is fitted on encoded columns and can be packed."""
