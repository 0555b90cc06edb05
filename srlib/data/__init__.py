"""Image files and datasets.

`images` reads and writes images, `registry` lists and fetches the public datasets, `layouts` matches LR and HR files,
`sets` opens a dataset by name, `camera` simulates LR photographs, `pairs` packs LR and HR images into memory maps, and
`patches` samples training batches from them. Import from the modules; heavy dependencies are imported on use.
"""
