package bench;

import com.nimbusds.jose.jwk.Curve;
import com.nimbusds.jose.jwk.ECKey;
import com.nimbusds.jose.jwk.JWKSet;
import com.nimbusds.jose.jwk.KeyUse;
import com.nimbusds.jose.jwk.RSAKey;
import com.nimbusds.jose.jwk.gen.ECKeyGenerator;
import com.nimbusds.jose.jwk.gen.RSAKeyGenerator;
import com.nimbusds.jose.jwk.source.ImmutableJWKSet;
import com.nimbusds.jose.jwk.source.JWKSource;
import com.nimbusds.jose.proc.SecurityContext;
import java.util.List;
import java.util.Map;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.context.annotation.Profile;
import org.springframework.security.crypto.bcrypt.BCryptPasswordEncoder;
import org.springframework.security.crypto.password.DelegatingPasswordEncoder;
import org.springframework.security.crypto.password.NoOpPasswordEncoder;
import org.springframework.security.crypto.password.PasswordEncoder;
import org.springframework.security.oauth2.jose.jws.SignatureAlgorithm;
import org.springframework.security.oauth2.server.authorization.token.JwtEncodingContext;
import org.springframework.security.oauth2.server.authorization.token.OAuth2TokenCustomizer;

/** What Spring Boot does not configure by itself: keys, audience, and which client gets ES256. */
@Configuration
@Profile("authorization-server")
class AuthorizationServer {

    @Bean
    JWKSource<SecurityContext> keys() throws Exception {
        RSAKey rsa = new RSAKeyGenerator(2048).keyID("rsa").keyUse(KeyUse.SIGNATURE).generate();
        ECKey ec = new ECKeyGenerator(Curve.P_256).keyID("ec").keyUse(KeyUse.SIGNATURE).generate();
        return new ImmutableJWKSet<>(new JWKSet(List.of(rsa, ec)));
    }

    /** Spring makes a token for its client, and signs it with RS256, unless told otherwise. */
    @Bean
    OAuth2TokenCustomizer<JwtEncodingContext> accessTokens() {
        return context -> {
            context.getClaims().audience(List.of("urn:bench:api"));
            if (context.getRegisteredClient().getClientId().equals("bench-es")) {
                context.getJwsHeader().algorithm(SignatureAlgorithm.ES256);
            }
        };
    }

    /**
     * Leaves a plain secret plain. Spring's own encoder would hash it with bcrypt when it is first
     * used: each request would cost 70 ms from then on, and two tables would show bcrypt.
     */
    @Bean
    @Profile("plain-secrets")
    @SuppressWarnings("deprecation")
    PasswordEncoder plainSecrets() {
        PasswordEncoder plain = NoOpPasswordEncoder.getInstance();
        return new DelegatingPasswordEncoder("noop", Map.of("noop", plain, "bcrypt", new BCryptPasswordEncoder()));
    }
}
