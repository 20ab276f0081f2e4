// Stands in for QuPath: an image with annotations, and scripts that are run on it, as orders on the
// standard input ask for. Each order is a line of JSON, and so is the answer to it.
import groovy.json.JsonOutput
import groovy.json.JsonSlurper
import javafx.scene.control.Alert
import javafx.scene.control.Label
import qupath.fx.dialogs.Dialogs
import qupath.lib.io.PathIO
import qupath.lib.objects.PathObject

class ImageData {
    final Map kept = [:]
    Object getProperty(String name) { this.@kept[name] }
    void setProperty(String name, Object value) {
        assert value instanceof Serializable && !(value instanceof GString) // QuPath saves it
        this.@kept[name] = value
    }
}

class ImageServer {
    String path
    int width, height
    List getURIs() { [new File(path).toURI()] }
    Object getMetadata() { [getName: { new File(path).getName() }] as Named }
}

interface Named { String getName() }

class Desk {
    List objects = []
    PathObject selected
    ImageServer server
    ImageData image = new ImageData()
    Object quPath

    Binding binding() {
        new Binding([
            getCurrentImageData: { image }, getCurrentServer: { server }, getQuPath: { quPath },
            getAnnotationObjects: { objects.findAll { it.isAnnotation } },
            getAllObjects: { boolean root -> objects }, getSelectedObject: { selected },
            removeObjects: { some, keepsChildren -> objects.removeAll { it in some } },
            addObjects: { some -> objects.addAll(some) },
            exportObjectsToGeoJson: { some, String path, String kind ->
                assert kind == "FEATURE_COLLECTION"
                new File(path).setText(PathIO.write(some), "UTF-8")
            },
        ])
    }

    def run(Map order) {
        Dialogs.answers = order.answers ?: []
        Dialogs.said.clear()
        quPath = order.window ? [getStage: { null }] as Staged : null
        def script = Thread.currentThread()
        Label.event = [cancel: { Alert.last.close() }, kill: { script.interrupt() }][order.stop]
        def source = new File(order.script).getText("UTF-8")
        def printed = new StringWriter()
        def variables = binding()
        variables.setVariable("out", new PrintWriter(printed, true))
        new GroovyShell(getClass().getClassLoader(), variables).evaluate(source)
        Thread.interrupted()
        return [printed: printed.toString(), said: Dialogs.said, shown: Label.shown]
    }

    def open(Map order) {
        server = new ImageServer(path: order.path, width: order.width, height: order.height)
        image = new ImageData()
        objects = []
        selected = null
        ["serve", "view"].each { System.clearProperty("gigaslide ${it}".toString()) }
    }

    def draw(Map order) {
        def made = PathIO.readObjectsFromGeoJSON(new ByteArrayInputStream(
            JsonOutput.toJson([features: order.features]).getBytes("UTF-8")))
        objects.addAll(made)
        if (order.selected) selected = made.last()
    }

    def change(Map order) {
        def found = objects.find { it.getID().toString() == order.id }
        if (order.points) found.getROI().rings = [[order.points]]
        else objects.remove(found)
    }

    def list(Map order) { new JsonSlurper().parseText(PathIO.write(objects)).features }
}

interface Staged { Object getStage() }

def desk = new Desk()
def answers = System.out
System.in.newReader("UTF-8").eachLine { line ->
    def order = new JsonSlurper().parseText(line)
    def answer
    try {
        answer = [answer: desk."${order.order}"(order)]
    } catch (Throwable error) {
        def trace = new StringWriter()
        error.printStackTrace(new PrintWriter(trace))
        answer = [error: trace.toString()]
    }
    answers.println(JsonOutput.toJson(answer))
    answers.flush()
}
