"""Which protocol gives a published number: SR pictures scored under all protocols at once (`srlib verify`)."""
