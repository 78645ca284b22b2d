package bench;

import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;

/** One program with two profiles: the authorization server, and an API that checks tokens. */
@SpringBootApplication
public class App {

    public static void main(String[] arguments) {
        SpringApplication.run(App.class, arguments);
    }
}
