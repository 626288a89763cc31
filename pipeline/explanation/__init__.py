"""Why a classifier errs: pictures of clips, their nearest training clips, and what its predictions depend on."""
