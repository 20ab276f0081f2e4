// The image.

/** Find the id of the open image by the name of its file, and of several by their size. */
def findSlide(boolean required) {
    def image = getCurrentServer(), rows = getJson("api/slides").slides
    def names = image.getURIs().collect { new File(it.getPath() ?: "").getName() }
    names << image.getMetadata().getName()
    def found = rows.findAll { it.file in names } ?: rows.findAll { row ->
        names.any { row.id in [it, it.replaceFirst(/\.[^.]*$/, "")] }
    }
    def fits = found.findAll { [it.width, it.height] == [image.getWidth(), image.getHeight()] }
    found = found.size() > 1 && fits ? fits : found
    if (found.size() == 1) return found[0].id
    def before = getCurrentImageData().getProperty(SLIDE)
    if (before in rows*.id) return before
    if (!found && !required) return null
    if (!rows) fail("the server has no slides; this needs gigaslide view")
    def id = choose("The server has ${found ? "several slides" : "no slide"} of this name. Which one " +
        "is open here?", (found ?: rows)*.id)
    keep(SLIDE, id)
    return id
}

/** The annotations that enclose an area. */
def outlines() { getAnnotationObjects().findAll { it.getROI()?.isArea() } }

/** Level-0 px of the slide where the image begins: QuPath cuts some down to their scanned part. */
def corner(geometry) {
    def image = getCurrentServer()
    def size = [image.getWidth(), image.getHeight()], bounds = geometry?.bounds
    if (geometry == null || size == [geometry.width, geometry.height]) return [0, 0]
    if (bounds && size == bounds[2..3]) return bounds[0..1]
    fail("this image is ${size.join(" x ")} px, the slide of the server ${geometry.width} x " +
        "${geometry.height} px: another image, or cropped in a way that this script does not know")
}

/** An answer for an uploaded slide is the first to tell its size. */
def checkSize(size, x, y) {
    if ([x, y] == [0, 0]) corner([width: size[0], height: size[1]])
}

/** The bounding box of a shape, level-0 px of the slide. */
def regionOf(roi, x, y) {
    def left = Math.max(0, Math.floor(roi.getBoundsX() + x) as int)
    def top = Math.max(0, Math.floor(roi.getBoundsY() + y) as int)
    def width = Math.ceil(roi.getBoundsX() + x + roi.getBoundsWidth()) as int
    def height = Math.ceil(roi.getBoundsY() + y + roi.getBoundsHeight()) as int
    return [left, top, Math.max(1, width - left), Math.max(1, height - top)]
}

def isWithin(object, roi) {
    def x = object.getROI().getCentroidX() - (roi?.getBoundsX() ?: 0)
    def y = object.getROI().getCentroidY() - (roi?.getBoundsY() ?: 0)
    return roi == null ||
        (x >= 0 && x <= roi.getBoundsWidth() && y >= 0 && y <= roi.getBoundsHeight())
}

def move(point, x, y) {
    point[0] instanceof Number ? [point[0] + x, point[1] + y] : point.collect { move(it, x, y) }
}

def moved(features, x, y) {
    features.each { it.geometry.coordinates = move(it.geometry.coordinates, x, y) }
}

def load(features, x, y) {
    def text = JsonOutput.toJson([type: "FeatureCollection", features: moved(features, x, y)])
    return PathIO.readObjectsFromGeoJSON(new ByteArrayInputStream(text.getBytes("UTF-8")))
}

def export(objects, x, y) {
    def file = File.createTempFile("gigaslide", ".geojson")
    try {
        exportObjectsToGeoJson(objects, file.getPath(), "FEATURE_COLLECTION")
        def features = new JsonSlurper().parse(file, "UTF-8").features
        return [type: "FeatureCollection", features: moved(features, x, y)]
    } finally {
        file.delete()
    }
}

// What was loaded, and whether it is as it was.

def keep(String name, value) {
    def plain = value instanceof CharSequence ? value.toString() : value
    getCurrentImageData().setProperty(name, plain)
}

def recall(String name) { getCurrentImageData().getProperty(name) ?: [:] }

def remember(String name, objects, Map earlier = [:]) {
    keep(name, new HashMap(earlier + objects.collectEntries { [it.getID().toString(), look(it)] }))
}

def isUnchanged(object, String name) { recall(name)[object.getID().toString()] == look(object) }

/** Corners, class and name in short. */
def look(object) {
    def corners = object.getROI().getAllPoints().collect { [it.getX(), it.getY()] }
    return "${corners.hashCode()} ${object.getPathClass()} ${object.getName()}".toString()
}
