// Loads the contours, detections and heatmap of gigaslide onto the image that is open in QuPath.
// QuPath 0.5 or later: drag this file into the window, then Run. Run it again to load anew.
import groovy.json.JsonOutput
import groovy.json.JsonSlurper
import javafx.application.Platform
import javax.imageio.ImageIO
import qupath.lib.gui.viewer.overlays.BufferedImageOverlay
import qupath.lib.io.PathIO
import qupath.lib.regions.ImageRegion

// Set to false what you do not want.
def showContours = true
def showDetections = true
def showHeatmap = true

// Change this if you moved the exports.
def folder = new File(@FOLDER@)

// Exported slides: id, name of the file, its path and its bytes where they are known.
def slides = @SLIDES@

def server = getCurrentServer()
def uris = server.getURIs()
def files = uris.collect { new File(it.getPath()) }
def names = (files*.getName() + [server.getMetadata().getName()]).findAll { it }
def candidates = names.collectMany { [it, it.replaceFirst(/\.[^.]*$/, "")] }
def paths = files*.getPath() + uris*.toString()
// Several slides may have files of one name: each test counts only if some slide passes it.
def tests = [
    { it.file in candidates || it.id in candidates },
    { it.path in paths },
    { it.file in names },
    { one -> files.any { it.length() == one.bytes } },
]
def found = slides.findAll(tests[0])
tests.drop(1).each { test ->
    def passed = found.findAll(test)
    found = found.size() > 1 && passed ? passed : found
}
if (found.size() != 1) {
    println found ? "gigaslide: ${names.unique()} may be any of ${found*.id}; export again with " +
        "--slides COHORT, and open the very file that the cohort names" :
        "gigaslide: no exports of ${names.unique()} in ${folder}"
    return
}
def slide = found[0].id
def slideFolder = new File(folder, slide)

// QuPath cuts MIRAX and other slides down to their scanned part (bounds), and counts px from there.
def corner = { info ->
    def isWhole = server.getWidth() == info.slide_size[0] && server.getHeight() == info.slide_size[1]
    if (isWhole) {
        return [0, 0]
    }
    if (server.respondsTo("dumpMetadata")) {
        def properties = new JsonSlurper().parseText(server.dumpMetadata())
        def x = properties["openslide.bounds-x"], y = properties["openslide.bounds-y"]
        if (x != null && y != null) {
            return [x.toInteger(), y.toInteger()]
        }
    }
    throw new IllegalStateException("gigaslide: this image is ${server.getWidth()} x " +
        "${server.getHeight()} px, the slide was ${info.slide_size.join(' x ')} px: another image, " +
        "or cropped in a way that this script does not know")
}

def move
move = { point, x, y ->
    point[0] instanceof Number ? [point[0] + x, point[1] + y] : point.collect { move(it, x, y) }
}

def load = { file ->
    def collection = new JsonSlurper().parse(file, "UTF-8")
    def (x, y) = corner(collection.gigaslide)
    def (fromX, fromY) = collection.gigaslide.origin_level0
    collection.features.each {
        it.geometry.coordinates = move(it.geometry.coordinates, fromX - x, fromY - y)
    }
    def text = JsonOutput.toJson(collection).getBytes("UTF-8")
    return PathIO.readObjectsFromGeoJSON(new ByteArrayInputStream(text))
}

def objects = []
if (showContours) {
    objects.addAll(load(new File(slideFolder, slide + ".geojson")))
}
if (showDetections) {
    objects.addAll(load(new File(slideFolder, slide + ".detections.geojson")))
}
def earlier = getAllObjects(false).findAll {
    it.respondsTo("getMetadata") && it.getMetadata()["made by"] == "gigaslide"
}
removeObjects(earlier, true)
addObjects(objects)

def viewer = getCurrentViewer()
if (showHeatmap && viewer != null) {
    def info = new JsonSlurper().parse(new File(slideFolder, slide + ".geojson"), "UTF-8").gigaslide
    def (x, y) = corner(info)
    def side = new File(slideFolder, slide + ".heatmap.pgw").readLines()[0].toDouble()
    def image = ImageIO.read(new File(slideFolder, slide + ".heatmap.png"))
    def region = ImageRegion.createInstance(-x, -y, Math.round(image.getWidth() * side) as int,
        Math.round(image.getHeight() * side) as int, 0, 0)
    Platform.runLater {
        def layers = viewer.getCustomOverlayLayers()
        layers.removeAll { it instanceof BufferedImageOverlay }
        layers.add(new BufferedImageOverlay(viewer.getOverlayOptions(), region, image))
        viewer.getOverlayOptions().setShowPixelClassification(true)
        viewer.repaint()
    }
}
println "gigaslide: loaded ${slide}"
